"""What is done with embeddings.

`task`               the seam: what the driver asks of a task, and what it gives back
`clustering`         the task of clustering, and its settings
`editing`            the task of editing a memory: labels made wrong, found and mended
`corrupt`            how labels are made wrong
`repair`             in which order rows are looked at
`mending`            what a memory answers while its labels are mended
`recovered`          the scores of one draw of wrong labels
`repaired`           all draws, on one side
`editing_shown`      what that task says of its metrics, its delta and notes
`editing_files`      its files and figures
`cluster_and_score`  cluster with several seeds, and score
`knn`                the task of neighbours, and its settings
`knn_queries`        what a memory is asked, and by which labels answers are scored
`knn_galleries`      who is asked: images or a base, and which rows are out for which query
`knn_answers`        what one side's memory says of the queries
`knn_scores`         scores of both sides, paired
`knn_sweep`          many voters and many k on the same neighbours
`knn_outcome`        what all of that says: scores, notes, files, figures
`knn_files`          CSV files and tables of a classification
`knn_figures`        its pictures
`incremental`        the task of a memory that grows, and its settings
`arrivals`           which rows and classes come at which step
`growing`            what a memory and class means tell after each step
`trained`            what classifiers tell that are trained step by step
`grown`              what one side told, for its scores
`incremental_outcome`  scores of all methods, with table, files and figures
`incremental_notes`  what to know before believing them
`memory`             a knowledge base of one side, for the tasks of neighbours
`asked`              a memory and its queries, and what each must not find
`class_notes`        what to know of the classes before believing a score
`links`              a folder of links for each cluster
"""
