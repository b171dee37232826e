"""Networks learn from pairs, on the processor and in minutes, and what they reach is judged.

`quality`  PSNR and SSIM, and their intervals over photographs
`wiener`   what is reached by who is told the blur
"""
