"""The rim, alone with Hydra: the command line, what a job does, sweeps.

`cli`         ``itae`` itself
`verbs`       the commands beside Hydra's
`words`       a command line's words: as typed, as Hydra takes them, as a shell is given them
`compose`     from the words of a command line to a config
`sentences`   one sentence for each mistake
`settings`    from a config to objects
`job`         a job opened and checked, and its embeddings
`started`     by which words a run was started
`tracked`     what a tracker gets of a run: rows of blocks, tables
`experiment`  one run, from settings to ``result.json``
`next_step`   what to try after a first run
`sweep`       many jobs, few passes
`launch`      how jobs reach a process: Slurm, Ray, joblib, Optuna
`cache`       ``itae cache``
`calibrate`   ``itae calibrate``
`collect`     ``itae collect``
`portable`    ``itae portable``
`prepare`     ``itae prepare``
`protocol`    ``itae protocol``
`held_out`    what development and held-out data have in common
`report`      ``itae report``
`knowledge`   ``itae knowledge``
`search`      ``itae search``
`serve`       ``itae serve``
"""
