"""What the server imports that `processes` forks from: what a job on cached embeddings needs, much of it in functions.

Nothing here may touch a GPU: no fork could then.
"""

# ruff: noqa: E402, F401
import gc

gc.disable()  # until a fork is at work: there is nothing to collect, and a look at it all takes time

import matplotlib.backends.backend_agg
import matplotlib.figure
import scipy.optimize
import scipy.signal
import scipy.stats
import sklearn.datasets
import sklearn.metrics

import itae.app.compose
import itae.app.launch.launch
import itae.tasks.clustering
