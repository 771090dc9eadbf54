"""Which geoms of a model may touch, worked out once instead of in every physics step.

    spec = mujoco.MjSpec.from_file("ant.xml")
    model = contact_pairs.predefined(spec)

MuJoCo sorts the bodies along an axis in every step to find the pairs that are near, and asks each
whether its geoms may touch at all. Of a robot with a dozen geoms most may only touch the floor: a
list of these is quicker. Contacts come in the same order with the same numbers, so the same bits
follow; a test compares them for every task that is treated so.
"""

from itertools import combinations
from typing import Any

import mujoco
import numpy as np


def predefined(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Return the model of `spec` with a predefined pair for every two geoms that may touch.

    What MuJoCo decides per contact from both geoms (friction, softness, margin) is decided here.
    """
    for i, geom in enumerate(spec.geoms):
        geom.name = geom.name or f"geom_{i}"
    model = spec.compile()
    types, bodies = model.geom_type.tolist(), model.geom_bodyid.tolist()
    # In MuJoCo's order, which sums keep: by bodies, then by the geom of the lower type.
    pairs = [sorted(two, key=types.__getitem__) for two in combinations(range(model.ngeom), 2)]
    for a, b in sorted(pairs, key=lambda two: (sorted(bodies[g] for g in two), two)):
        if _may_touch(model, a, b):
            names = {f"geomname{i}": model.geom(g).name for i, g in ((1, a), (2, b))}
            spec.add_pair(**names, **_mixed(model, a, b))
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0
    return spec.compile()


def _may_touch(model: mujoco.MjModel, a: int, b: int) -> bool:
    """Return whether MuJoCo lets geoms `a` and `b` collide.

    Not if their masks do not meet, if they are of one rigid part or of a part and the one that
    carries it (the world carries all and may be touched), or if the model says so.
    """
    types, affinities = model.geom_contype, model.geom_conaffinity
    if not (types[a] & affinities[b] or types[b] & affinities[a]):
        return False
    bodies = sorted(int(model.geom_bodyid[g]) for g in (a, b))
    if (bodies[0] << 16) + bodies[1] in model.exclude_signature:
        return False
    parts = [int(model.body_weldid[body]) for body in bodies]
    if parts[0] == parts[1]:
        return False
    carriers = [int(model.body_weldid[model.body_parentid[part]]) for part in parts]
    adjacent = parts[0] == carriers[1] or parts[1] == carriers[0]
    filtered = not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_FILTERPARENT
    return not (filtered and adjacent and all(parts))


def _mixed(model: mujoco.MjModel, a: int, b: int) -> dict[str, Any]:
    """Return what a contact of geoms `a` and `b` has from both, as MuJoCo mixes it."""
    margin = float(model.geom_margin[a] + model.geom_margin[b])
    gap = float(max(model.geom_gap[a], model.geom_gap[b]))
    priority = model.geom_priority
    if priority[a] != priority[b]:  # one of them alone decides the rest
        a = b = a if priority[a] > priority[b] else b
    mix, solref, solimp = model.geom_solmix, model.geom_solref, model.geom_solimp
    share = mix[a] / (mix[a] + mix[b]) if mix[a] + mix[b] else 0.5
    reference = share * solref[a] + (1 - share) * solref[b]
    if solref[a, 0] <= 0 or solref[b, 0] <= 0:  # stiffness and damping themselves
        reference = np.minimum(solref[a], solref[b])
    slide, spin, roll = np.maximum(model.geom_friction[a], model.geom_friction[b]).tolist()
    return {
        "condim": int(max(model.geom_condim[a], model.geom_condim[b])),
        "solref": reference,
        "solimp": share * solimp[a] + (1 - share) * solimp[b],
        "friction": [slide, slide, spin, roll, roll],
        "margin": margin,
        "gap": gap,
    }
