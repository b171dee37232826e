"""Networks that are made by hand, for tests of devices."""

from dataclasses import dataclass

import numpy as np

from itae.portable.devices.device import Cost


@dataclass(frozen=True)
class Toy:
    """A convolution that is added to the picture; or one with an operator that runtimes lack."""

    operator: str = "none"
    seed: int = 0
    name: str = "toy"
    multiple: int = 1

    def settings(self):
        return {"operator": self.operator, "seed": self.seed}

    def build(self):
        import torch

        operator = self.operator

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), Strange())

            def forward(self, x):
                return x + self.body(x)

        class Strange(torch.nn.Module):
            def forward(self, x):
                return {
                    "none": lambda: x,
                    "gate": lambda: torch.cat([half * half for half in x.chunk(2, 2)], 2).to(torch.float64).float(),
                    "bessel": lambda: torch.special.bessel_j0(x),
                    "fft": lambda: torch.fft.ifft2(torch.fft.fft2(x)).real,
                    "isinf": lambda: x * ~torch.isinf(x),
                    "det": lambda: x + torch.linalg.det(x)[..., None, None],
                }[operator]()

        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return Module().eval()

    def cost(self, height, width):
        return Cost(81 * height * width, 84)


def pictures(count, size=(64, 64), seed=0):
    """Return smooth pictures, float32 [1, 3, H, W] in 0..1."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    drawn = [gaussian_filter(rng.random((1, 3, *size)), (0, 0, 1.5, 1.5)) for _ in range(count)]
    return [np.clip(3 * each - 1, 0, 1).astype(np.float32) for each in drawn]


def torch_of(module):
    """Return a call of a module on arrays."""
    import torch

    def call(picture):
        with torch.inference_mode():
            return module(torch.from_numpy(np.ascontiguousarray(picture))).numpy()

    return call
