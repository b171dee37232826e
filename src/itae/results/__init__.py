"""Runs on the disk, read back as plain data.

`run`          ``result.json``, and the embeddings that it names
`find`         all runs under some folders
`shown`        what a result says of its own metrics
`before`       what those say that were written before they did
`many`         many runs as one table, from Python
`table`        one row a run
`csv_text`     a table as CSV
`rows`         which rows compare, and what tells them apart
`controls`     an edit against random patches
`assignments`  ``assignments.csv``
`agreements`   how much runs of several clusterers agree
`clusterings`  ``clusterings.npz``
`image_values` ``image_values.npz``
`report`       the table on the console
`foreign`      nothing is imported on a stranger's word
"""
