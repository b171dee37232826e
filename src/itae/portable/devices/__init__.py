"""Runtimes of this machine at some precision, and a command of one's own, each one small file.

`device`        what a device is
`devices`       those of this package, by which configs name them
`torch_here`    torch, eager and compiled
`onnx_runtime`  ONNX Runtime, fp32 and int8
`open_vino`     OpenVINO, f32, bf16, f16 and int8
`ncnn_here`     ncnn
`mnn_here`      MNN
`lite_rt`       LiteRT, in an environment of its own
`execu_torch`   ExecuTorch, in an environment of its own
`command`       whatever a command line of the user's own reaches
`onnx_export`   a network as ONNX, which five of them begin with
`apart`         a device in a process of its own
`worker`        what stands at the other end of its pipes
`lite_rt_worker`  LiteRT there
`execu_torch_worker`  ExecuTorch there
`program`       a network as its operators and weights, without code
`exports`       what they made of networks, kept by content
`library`       a runtime's package: is it here, which version
`processor`     what the processor can do by itself, and what is emulated
`quiet`         what converters print is kept from the console
"""
