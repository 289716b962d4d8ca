"""Instructions for converting the pickles of CIFAR-N, which are never opened here."""

CONVERT = """\
The released labels (CIFAR-10_human.pt, CIFAR-10_human_ordered.npy) are pickles. Opening a pickle runs the code in it, so
this command never does. If you trust the file, convert it once with one of
  python -c "import pandas, torch; pandas.DataFrame(torch.load('CIFAR-10_human.pt', weights_only=False))\
.to_csv('CIFAR-10_human.csv', index=False)"
  python -c "import numpy, pandas; pandas.DataFrame(numpy.load('CIFAR-10_human_ordered.npy', allow_pickle=True)[()])\
.to_csv('CIFAR-10_human_ordered.csv', index=False)"
and give the CSV file. Add --tfds-order for the ordered file, which the TFDS builder uses. Columns: clean_label and
random_label1, random_label2, random_label3 (CIFAR-100N: noise_label or noisy_label), all with class ids."""
