"""The recipe of a run: its data, described and loaded, the GAN that an experiment builds of its options, and ensembles
of that GAN. Nothing here runs a step."""
