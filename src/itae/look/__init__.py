"""What people look at, drawn from what it is handed.

`style`              the same look everywhere, names as they are
`figures`            the figure of the signal, and how all are saved
`artifact_figures`   the figures of norms, layers and flagged patches
`embedding_figures`  the figures of embeddings and clusters
`run_figures`        all figures of one run
`sweep_figures`      those of many runs
`page`               one HTML file of a run, or of many
`view`               a run as one looks at it
"""
