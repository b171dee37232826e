"""Clusterers: what they are told, what they give back.

`clustered`   what a clusterer is, what it returns, and what several clusterings came to
`numbered`    what all have in common that are told the number of clusters, or draw seeds
`points`      what is asked of embeddings before they are clustered, block by block
`reduce`      fewer dimensions before clustering
`graph`       the graph of nearest neighbours, sparse and of one piece
`reach`       the spanning tree of mutual reachability
`kmeans`      k-means, by FAISS
`choose_k`    the number of clusters, without labels
`agglomerative`  what is alike is merged, two at a time
`hdbscan`     dense places, and noise between them
`spectral`    k-means among the smoothest functions on the graph
`gmm`         a mixture of Gaussians
`turtle`      TURTLE, the clustering that linear classifiers learn best
`turtle_steps`  its steps
`temi`        TEMI, heads that give neighbours the same cluster
`temi_steps`  its steps
`trained`     what those two have in common
`generalisation`  how well a plain classifier learns a clustering
`clusterers`  all of them, by one name
"""
