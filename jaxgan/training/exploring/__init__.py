"""Looking into a generator's latent space: codes of samples, and of what lies between and beside them, directions that
mean something, the training images that are nearest. Arrays in, arrays out; nothing here reads a command line."""
