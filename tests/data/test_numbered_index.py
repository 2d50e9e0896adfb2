"""A sample that takes the place of another is for the same batch."""

from d2video.data.bad_samples import RetryingDataset
from d2video.data.sample_stream import NumberedIndex
from d2video.utils.errors import BrokenFile


def test_a_replacement_is_for_the_same_batch_and_records_stay_as_they_are():
    records = [{"index": k} for k in range(2)]

    def mapper(record):
        if record["index"] == 0:
            raise BrokenFile("broken")
        return record

    dataset = RetryingDataset(records, mapper, max_retries=50)
    replacement = dataset[NumberedIndex(0, 4)]
    assert replacement.pop("bad_samples")
    assert replacement == {"index": 1, "batch_number": 4}
    assert dataset[1] == {"index": 1}
    assert records == [{"index": 0}, {"index": 1}]
