"""The tiny Swin, a teacher with maps and windows like the paper's."""

from easydict import EasyDict

config = EasyDict()
config.network = "swin_tiny"
config.embedding_size = 512
config.margin_list = (1.0, 0.0, 0.4)
config.optimizer = "adamw"
config.lr = 1e-3
config.weight_decay = 0.05
config.batch_size = 64
config.num_epoch = 8
config.warmup_epoch = 1
config.val_targets = ["dev"]
config.verify_epochs = 4
