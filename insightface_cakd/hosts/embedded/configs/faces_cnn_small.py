"""The small residual CNN on thousands of faces: hours on a CPU."""

from easydict import EasyDict

config = EasyDict()
config.network = "cnn_small"
config.embedding_size = 512
config.margin_list = (1.0, 0.0, 0.4)
config.batch_size = 64
config.num_epoch = 30
config.warmup_epoch = 1
config.optimizer = "adamw"
config.lr = 0.003
config.weight_decay = 0.05
config.val_targets = ["dev"]
config.verify_epochs = 10
