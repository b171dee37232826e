"""Numbers from embeddings: clusters, neighbours, scores, intervals.

`cluster`        clusterers
`faiss_backend`  which FAISS, which GPU, how many threads
`knn`            nearest neighbours
`matching`       clusters and classes, one to one
`scores`         ACC, NMI, AMI, ARI, purity, KNN
`classified`     top-1, recall, confusion, reliability, AUROC, mAP
`retrieval`      recall and precision of a ranking, MAP@R
`forgetting`     accuracy step by step, transfer and forgetting
`silhouette`     criteria that need no labels
`spaces`         how many directions a space uses, and how far its classes lie apart
`agreement`      how much two clusterings agree
`centroids`      how far images lie from the middle of their cluster
`intervals`      how far a difference is open
`distance`       how far an edit moved each embedding
"""
