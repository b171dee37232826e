"""Numbers from embeddings: clusters, neighbours, scores, intervals.

`kmeans`         k-means, by FAISS
`faiss_backend`  which FAISS, which GPU, how many threads
`clustered`      what the clusterings of one set of embeddings came to
`knn`            nearest neighbours
`matching`       clusters and classes, one to one
`scores`         ACC, NMI, AMI, ARI, purity, KNN
`silhouette`     criteria that need no labels
`intervals`      how far a difference is open
`distance`       how far an edit moved each embedding
"""
