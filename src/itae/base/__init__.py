"""What every room needs and no room is about.

`errors`     a user's mistake, told in one sentence
`checks`     what a setting may be
`names`      what classes are called in yaml, results and keys, wherever their files lie
`construct`  from a config node to an object
`secrets`    what a run is given and nobody is to read in its folder
`identity`   what a rule is in a cache key
`code`       the code of somebody's own rule or model, as a digest
`runtime`    how a run is executed: the settings of ``runtime``
`device`     device and precision of forwards
`memory`     how much a process takes, and how it is used again
`console`    what is printed: words as they are
`progress`   bars on a terminal, lines in a log
`threads`    work in threads, in order
`typed`      a text as the value of an option, as Hydra and a shell take it
`place`      where a command was started
`versions`   what numbers depend on beside this code
`weights`    files of weights that may be read
`disk`       files that appear whole or not at all
`lock`       what one process at a time holds
`waiting`    a wait that is told
`beside`     what may fail without costing a number
"""
