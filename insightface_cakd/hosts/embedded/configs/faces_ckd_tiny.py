"""CKD's tiny network on a small face set: minutes on a CPU."""

from easydict import EasyDict

config = EasyDict()
config.network = "ckd_tiny"
config.embedding_size = 512
config.batch_size = 64
config.num_epoch = 8
config.warmup_epoch = 1
config.lr = 0.1
config.val_targets = ["dev"]
config.verify_epochs = 4
