"""What is done with embeddings.

`clustering`         the task of clustering, and its settings
`cluster_and_score`  cluster with several seeds, and score
`class_notes`        what to know of the classes before believing a score
`links`              a folder of links for each cluster
"""
