"""Which label, by which rows, and what would turn it: all of them functions of a snapshot.

`vote`              voters: how much each neighbour has to say
`ballot`            votes counted: shares of rows become scores of labels
`sweep`             who wins by many voters and k, from one search for neighbours
`class_means`       the mean of each class, the same bits whatever the order of its rows
`choose`            which voter, k and temperature, chosen inside the base
`classify`          answers: label, scores, neighbours, what is known
`turn`              the fewest rows whose removal turns an answer
`turn_class_means`  rows whose removal turns an answer of class means
`turned`            what an edit does to predictions, before it is made
`why`               an answer explained: neighbours, their sources, what turns it
"""
