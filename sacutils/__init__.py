"""SAC companion: train a zoo of stolen and independent networks, fingerprint them, tell them apart.

The modules follow the flow of the book: :mod:`~sacutils.data`, :mod:`~sacutils.models` and
:mod:`~sacutils.training` make networks, :mod:`~sacutils.attacks` steals them,
:mod:`~sacutils.probes` and :mod:`~sacutils.correlation` compute the fingerprint,
:mod:`~sacutils.evaluation` judges it and :mod:`~sacutils.run` ties them to files.
"""

__version__ = "0.1.0"
