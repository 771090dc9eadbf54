"""Visuals for videos and windows: sun, sky and a tiled floor."""

import mujoco

from robot_ppo.robot_model.assembly import FLOOR


def add(spec: mujoco.MjSpec, base: str) -> None:
    """Add a soft sun that follows the body `base`, a sky and a tiled floor; delete other lights."""
    for light in list(spec.lights):
        spec.delete(light)
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)
    horizon = (0.80, 0.84, 0.88)
    spec.add_texture(
        name="robot_ppo/sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.42, 0.56, 0.72),
        rgb2=horizon,
        width=256,
        height=1536,
    )
    spec.add_texture(
        name="robot_ppo/tiles",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=(0.45, 0.50, 0.5625),
        rgb2=(0.40, 0.45, 0.5125),
        markrgb=(0.65, 0.70, 0.75),
        width=1024,
        height=1024,
    )
    # At 0.8, sun and headlight together stay below 1, where OpenGL cuts light that it adds in one
    # pass and not light that it adds in two: with and without shadows the floor looks the same.
    material = spec.add_material(
        name="robot_ppo/floor",
        texrepeat=(1, 1),
        texuniform=True,
        reflectance=0.0,
        specular=0.0,
        rgba=(0.8, 0.8, 0.8, 1),
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "robot_ppo/tiles"
    spec.geom(FLOOR).material = "robot_ppo/floor"
    # It tracks the robot's root, so that the shadow map, a few metres wide, is always around it.
    spec.body(base).add_light(
        pos=(-1.0, -1.4, 3.0),
        dir=(0.3, 0.42, -0.9),
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        diffuse=(0.75, 0.73, 0.70),
        specular=(0.25, 0.25, 0.25),
        castshadow=True,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )
    visual = spec.visual
    visual.headlight.ambient = (0.38, 0.39, 0.41)
    visual.headlight.diffuse = (0.22, 0.22, 0.22)
    visual.headlight.specular = (0.05, 0.05, 0.05)
    visual.rgba.haze = (*horizon, 1)
    visual.map.haze = 0.4
    # Wide: near the border of the shadow map the infinite floor shades itself in stripes.
    visual.map.shadowclip = 6
    visual.quality.shadowsize = 4096
    visual.quality.offsamples = 4
    # Without a GPU the vertices are what a frame costs.
    visual.quality.numslices = 20
    visual.quality.numstacks = 12
    visual.global_.offwidth = 1280
    visual.global_.offheight = 720
