"""What is trained: the data as they are described and loaded, the GAN that an experiment builds of its options, and
ensembles of it. Nothing here runs a step."""
