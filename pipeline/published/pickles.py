"""Why the released labels of CIFAR-N are not opened here, and how they become something that is."""

CONVERT = """\
The released labels (CIFAR-10_human.pt, CIFAR-10_human_ordered.npy) are pickles: to open one runs whatever is in it, so
this is not done here. If you trust the file, convert it once, with one of
  python -c "import pandas, torch; pandas.DataFrame(torch.load('CIFAR-10_human.pt', weights_only=False))\
.to_csv('CIFAR-10_human.csv', index=False)"
  python -c "import numpy, pandas; pandas.DataFrame(numpy.load('CIFAR-10_human_ordered.npy', allow_pickle=True)[()])\
.to_csv('CIFAR-10_human_ordered.csv', index=False)"
and give the CSV; the ordered ones, which are also what the TFDS builder asks for, with --tfds-order. Columns: clean_label
and random_label1, random_label2, random_label3 (CIFAR-100N: noise_label or noisy_label), all class ids."""
