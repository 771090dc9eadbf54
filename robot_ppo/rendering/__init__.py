"""Pictures of a simulation without a display: cameras and off-screen OpenGL."""
