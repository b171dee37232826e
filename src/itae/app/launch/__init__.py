"""How the jobs of a sweep reach a process: the work of `hydra_plugins.itae_sweeps`.

`launch`     compose, plan, send, read the results
`composer`   Hydra's composing, less the reading of the same files
`group`      jobs that share a pass, and what runs them
`processes`  jobs in processes of this machine
`server`     what these are forked from
`sending`    what comes to another process
`parcel`     a group on its way elsewhere
`joblib`     groups in processes of this machine
`ray`        groups on a Ray cluster
`slurm`      groups as a Slurm array
`optuna`     a search
`objectives` what a search is for
"""
