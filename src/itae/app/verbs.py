"""The commands beside Hydra's: what may stand first on the command line, and which module's ``main`` it is."""

from __future__ import annotations

VERBS = {
    "cache": "itae.app.cache",
    "calibrate": "itae.app.calibrate",
    "collect": "itae.app.collect",
    "dashboard": "itae.track.dashboard",
    "knowledge": "itae.app.knowledge.main",
    "portable": "itae.app.portable.main",
    "prepare": "itae.app.prepare",
    "protocol": "itae.app.protocol",
    "report": "itae.app.report",
    "search": "itae.app.search.main",
    "serve": "itae.app.serve.main",
    "sync": "itae.track.sync",
}
