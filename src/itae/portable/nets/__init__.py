"""Networks from a spec, and what they cost by counting.

`unet`             the U-Net that a study of operators changes part by part
`spec`             what it is made of, as plain values
`costs`            what it costs, from its spec alone
`reach`            how far it sees
`unet_module`      it, as a torch module
`draw`             random weights by which a signal neither dies nor grows, drawn by looking at pictures
`spandrel_net`     networks of others, by the library spandrel
`spandrel_module`  them, as torch modules
`weights`          weights from a file
`padded`           pictures of any size, padded and cropped back
`changes`          the operators of a study
"""
