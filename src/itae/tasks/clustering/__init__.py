"""The task of clustering.

`task`               its settings; both sides clustered, scored and paired
`cluster_and_score`  cluster with several seeds, and score
`choice`             the number of clusters, where it is to be chosen
`reading`            how much both clusterings agree, and what the two spaces are like, in words
`words`              clusters named by words
`notes`              what to know of classes and clusters before believing a score
`links`              a folder of links for each cluster
"""

from itae.tasks.clustering.task import Clustering

__all__ = ["Clustering"]
