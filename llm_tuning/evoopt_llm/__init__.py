"""Language models small enough to be trained many times, with every hyperparameter a knob.

People tune a large pretraining run on small proxies first. This package is that proxy: models
(`models`), data as bytes (`corpus`), optimizers with weight-norm control (`adamwn`), schedules
(`schedules`), emulated NVFP4 (`nvfp4`) and a trainer, one process a trial (`train`). It needs the
extra `llm`.
"""
