"""Networks that suit devices, found instead of designed.

`space`      which U-Nets a search may choose from
`hand_made`  ten that a practitioner would draw, listed before any search
"""
