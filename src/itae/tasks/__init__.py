"""What is done with embeddings.

`task`               the seam: what the driver asks of a task, and what it gives back
`clustering`         the task of clustering, and its settings
`cluster_and_score`  cluster with several seeds, and score
`memory`             a knowledge base of one side, for the tasks of neighbours
`class_notes`        what to know of the classes before believing a score
`links`              a folder of links for each cluster
"""
