"""``itae portable``: a deblurring network over the devices of this machine.

`main`             the command: words, their config, help
`settings`         from that config to objects, every mistake found before any work
`study`            what one kind of run is
`deploy_study`     one network, from photographs to what each device restores
`operators_study`  what an operator costs on each device
`prepare`          ``itae portable prepare``: photographs out of Debian's packages
`search_study`     which networks suit each device, and which few suit all
`study_run`        one run, from settings to ``result.json`` and its page
"""
