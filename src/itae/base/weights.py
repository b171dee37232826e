"""Files of weights that may be read: .safetensors alone, and whole."""

from __future__ import annotations

from pathlib import Path

from itae.base.errors import UserError


def refuse_other_formats(path: Path, told: str) -> None:
    """Raise a `UserError` for a file that isn't a .safetensors one; `told` is what was typed, ``net.weights=FILE``."""
    if path.suffix != ".safetensors":
        raise UserError(
            f"{told} isn't a .safetensors file; other formats may run code when they are read, so convert it first "
            "(safetensors.torch.save_file(state_dict, path))."
        )


def refuse_damaged(path: Path, told: str) -> None:
    """Raise a `UserError` for a .safetensors file that isn't whole, as one whose copy was broken off."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # reads the header and compares it with the file's length
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{told} can't be read ({error}); is it whole? Fetch or save it again.") from error
