"""Train a VAE on a catalog of images and write a model bundle. See --help."""

from vaeudf.workflows.cli import main
from vaeudf.workflows.train_vae import TrainVae, train_vae

if __name__ == "__main__":
    main(TrainVae, train_vae)
