//! Unrounded vectors of a part that is being captured.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::Error;
use crate::durable::TmpFile;

const F32_BYTES: usize = size_of::<f32>();

/// Scratch file of `[row, row_width]` f32 values, where a row is the vectors of one token in a line.
///
/// A single value beyond f16's range decides, perhaps at a part's last token, that nothing in the
/// part may be rounded. Keeping the part in memory until then would bound its size by memory;
/// capturing it again would double the work of a model far slower than a disk.
#[derive(Debug)]
pub(crate) struct Spool {
    file: BufWriter<File>,
    buffer: Vec<u8>,
    // Declared last: the file is closed before it is removed.
    tmp: TmpFile,
}

impl Spool {
    /// Makes the scratch file `name.tmp`.
    pub(crate) fn create(name: &Path) -> Result<Self, Error> {
        let tmp = TmpFile::scratch(name);
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(tmp.path())
            .map_err(|e| Error::write(tmp.path(), "create", e))?;
        Ok(Self {
            file: BufWriter::with_capacity(1 << 20, file),
            buffer: Vec::new(),
            tmp,
        })
    }

    /// Adds `n_rows` rows; `columns` are `[row, width]` each.
    pub(crate) fn push(&mut self, n_rows: usize, columns: &[&[f32]]) -> Result<(), Error> {
        for row in 0..n_rows {
            self.buffer.clear();
            for column in columns {
                let width = column.len() / n_rows;
                let values = &column[row * width..(row + 1) * width];
                self.buffer
                    .extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            self.file
                .write_all(&self.buffer)
                .map_err(|e| Error::write(self.tmp.path(), "write", e))?;
        }
        Ok(())
    }

    /// Goes to reading: `n_rows` rows of vectors with these widths.
    pub(crate) fn into_reader(self, n_rows: usize, widths: &[usize]) -> Result<SpoolReader, Error> {
        let Self { file, tmp, .. } = self;
        let write = |e| Error::write(tmp.path(), "write", e);
        let mut file = file.into_inner().map_err(|e| write(e.into_error()))?;
        let n_bytes = file.seek(SeekFrom::End(0)).map_err(write)?;
        // An append that failed half way would shift all rows after it.
        let expected = (n_rows * widths.iter().sum::<usize>() * F32_BYTES) as u64;
        if n_bytes != expected {
            return Err(Error::WrongSize {
                path: tmp.path().to_owned(),
                expected,
                found: n_bytes,
            });
        }
        file.rewind().map_err(|e| Error::read(tmp.path(), e))?;
        Ok(SpoolReader {
            file: BufReader::with_capacity(1 << 20, file),
            widths: widths.to_vec(),
            buffer: Vec::new(),
            tmp,
        })
    }
}

/// A finished spool, read once from its start.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    file: BufReader<File>,
    widths: Vec<usize>,
    buffer: Vec<u8>,
    tmp: TmpFile,
}

impl SpoolReader {
    /// The next `n_rows` rows, as one `[row, width]` block per vector column.
    pub(crate) fn read(&mut self, n_rows: usize) -> Result<Vec<Vec<f32>>, Error> {
        let mut columns: Vec<Vec<f32>> = self
            .widths
            .iter()
            .map(|width| Vec::with_capacity(n_rows * width))
            .collect();
        for _ in 0..n_rows {
            for (column, width) in columns.iter_mut().zip(&self.widths) {
                self.buffer.resize(width * F32_BYTES, 0);
                self.file
                    .read_exact(&mut self.buffer)
                    .map_err(|e| Error::read(self.tmp.path(), e))?;
                let (values, _) = self.buffer.as_chunks::<F32_BYTES>();
                column.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_by_column() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(&folder.path().join("s")).unwrap();
        spool
            .push(2, &[&[1.0, 2.0, 3.0, 4.0], &[-1.0, -2.0]])
            .unwrap();
        spool.push(1, &[&[5.0, 6.0], &[-3.0]]).unwrap();
        let mut reader = spool.into_reader(3, &[2, 1]).unwrap();
        assert_eq!(reader.read(1).unwrap(), [vec![1.0, 2.0], vec![-1.0]]);
        assert_eq!(
            reader.read(2).unwrap(),
            [vec![3.0, 4.0, 5.0, 6.0], vec![-2.0, -3.0]]
        );
        drop(reader);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_spool_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(&folder.path().join("s")).unwrap();
        spool.push(1, &[&[1.0]]).unwrap();
        assert!(matches!(
            spool.into_reader(2, &[1]),
            Err(Error::WrongSize { .. })
        ));
    }
}
