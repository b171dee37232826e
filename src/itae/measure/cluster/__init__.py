"""Clusterers: what they are told, what they give back.

`clustered`   what a clusterer is, what it returns, and what several clusterings came to
`numbered`    what all have in common that are told the number of clusters, or draw seeds
`points`      what is asked of embeddings before they are clustered, block by block
`kmeans`      k-means, by FAISS
`choose_k`    the number of clusters, without labels
`clusterers`  all of them, by one name
"""
