"""Data sets of other hospitals, for testing only: adapters, the same crop cut from BUSI, the cross-data-set table."""
