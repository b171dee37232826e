"""``itae knowledge``: a base on the command line.

`main`   which verb is which function, and the help
`opened`  a base and its encoder
`fill`   init, add
`ask`    classify, why
`change`  correct, delete, undo, restore, relink
`history`  log, diff, tag
`upkeep`  status, verify, compact, purge
`exchange`  import, export, rebuild
`curate`  suspects, duplicates, outliers
`edits`  what every edit has: who, why, a look before
`printed`  tables and JSON
`words`  what stands behind a verb: options, paths, and words of the config
"""
