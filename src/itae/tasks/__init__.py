"""What is done with embeddings.

A room for each task, which exports its class. In each of them `task` has settings and what the driver asks for; where
they are files of their own, `outcome` and `notes` have what is said of what was found, `files` and `figures` what is
written and drawn. All else is what a task computes.

`task`         the seam: what the driver asks of a task, and what it gives back
`memory`       a knowledge base of one side, for the tasks of neighbours
`gallery`      whose images are a memory's rows, and whose are asked about
`asked`        a memory and its queries, and what each must not find
`csv_file`     a table as a CSV file
`notes`        what tasks of a memory say in the same words
`clustering`   images in clusters, scored
`knn`          images named by their neighbours
`incremental`  a memory that grows
`editing`      labels of a memory made wrong, found and mended
`feedback`     searches that simulated users judge
"""
