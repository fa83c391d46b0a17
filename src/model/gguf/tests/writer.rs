//! Writes GGUF files for tests: valid by default, and every number can be made wrong.

/// GGUF's numbers of value types.
pub(super) const U32: u32 = 4;
pub(super) const I32: u32 = 5;
pub(super) const F32_VALUE: u32 = 6;
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// GGML's numbers of tensor types.
pub(super) const F32: u32 = 0;
pub(super) const F16: u32 = 1;
pub(super) const Q4_1: u32 = 3;
pub(super) const Q8_0: u32 = 8;

/// A file in the making.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) magic: [u8; 4],
    pub(super) version: u32,
    /// What the padding follows; the metadata entry is written apart.
    pub(super) alignment: usize,
    /// The number announced, where it is not the true one.
    pub(super) n_entries: Option<u64>,
    /// The number announced, where it is not the true one.
    pub(super) n_tensors: Option<u64>,
    /// Key, value type and value.
    pub(super) entries: Vec<(Vec<u8>, u32, Vec<u8>)>,
    pub(super) tensors: Vec<TensorEntry>,
    pub(super) data: Vec<u8>,
}

/// One line of the tensor table.
#[derive(Debug, Clone)]
pub(super) struct TensorEntry {
    pub(super) name: String,
    /// Fastest dimension first, as in the file.
    pub(super) dims: Vec<u64>,
    pub(super) type_id: u32,
    pub(super) offset: u64,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: 32,
            n_entries: None,
            n_tensors: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Adds an entry, after taking away one of the same key.
    pub(super) fn set(mut self, key: &str, type_id: u32, value: Vec<u8>) -> Self {
        self.entries.retain(|entry| entry.0 != key.as_bytes());
        self.entry(key, type_id, value)
    }

    pub(super) fn without(mut self, key: &str) -> Self {
        self.entries.retain(|entry| entry.0 != key.as_bytes());
        self
    }

    /// Adds an entry, even if the key is there already.
    pub(super) fn entry(mut self, key: &str, type_id: u32, value: Vec<u8>) -> Self {
        self.entries.push((key.as_bytes().to_vec(), type_id, value));
        self
    }

    pub(super) fn u32(self, key: &str, value: u32) -> Self {
        self.set(key, U32, value.to_le_bytes().to_vec())
    }

    pub(super) fn f32(self, key: &str, value: f32) -> Self {
        self.set(key, F32_VALUE, value.to_le_bytes().to_vec())
    }

    pub(super) fn string(self, key: &str, value: &str) -> Self {
        self.set(key, STRING, string(value))
    }

    pub(super) fn strings(self, key: &str, values: &[&str]) -> Self {
        let elements = values.iter().flat_map(|value| string(value)).collect();
        self.set(key, ARRAY, array(STRING, values.len() as u64, elements))
    }

    pub(super) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let elements = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.set(key, ARRAY, array(I32, values.len() as u64, elements))
    }

    /// Adds a tensor with its data; `shape` has its slowest dimension first.
    pub(super) fn tensor(mut self, name: &str, shape: &[u64], type_id: u32, data: &[u8]) -> Self {
        self.data
            .resize(self.data.len().next_multiple_of(self.alignment), 0);
        self.tensors.push(TensorEntry {
            name: name.to_owned(),
            dims: shape.iter().rev().copied().collect(),
            type_id,
            offset: self.data.len() as u64,
        });
        self.data.extend_from_slice(data);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        let n_tensors = self.n_tensors.unwrap_or(self.tensors.len() as u64);
        out.extend(n_tensors.to_le_bytes());
        let n_entries = self.n_entries.unwrap_or(self.entries.len() as u64);
        out.extend(n_entries.to_le_bytes());
        for (key, type_id, value) in &self.entries {
            out.extend((key.len() as u64).to_le_bytes());
            out.extend(key);
            out.extend(type_id.to_le_bytes());
            out.extend(value);
        }
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            out.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            out.extend(tensor.type_id.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// A string value: its length, then its bytes.
pub(super) fn string(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

/// An array value: type and number of its elements, then the elements.
pub(super) fn array(element: u32, n: u64, elements: Vec<u8>) -> Vec<u8> {
    let mut out = element.to_le_bytes().to_vec();
    out.extend(n.to_le_bytes());
    out.extend(elements);
    out
}

pub(super) fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(super) fn f16s(values: &[f32]) -> Vec<u8> {
    let bytes = |v: &f32| half::f16::from_f32(*v).to_le_bytes();
    values.iter().flat_map(bytes).collect()
}

/// A block of `Q8_0`: `scale * q`.
pub(super) fn q8_0(scale: f32, q: [i8; 32]) -> Vec<u8> {
    let mut out = f16s(&[scale]);
    out.extend(q.iter().flat_map(|q| q.to_le_bytes()));
    out
}

/// A block of `Q4_1`: `scale * q + minimum`. Byte `i` holds weight `i` low and weight `i + 16` high.
pub(super) fn q4_1(scale: f32, minimum: f32, q: [u8; 32]) -> Vec<u8> {
    let mut out = f16s(&[scale, minimum]);
    out.extend((0..16).map(|i| q[i] | q[i + 16] << 4));
    out
}

/// A file with a value of every type and a tensor of four types; its last byte is a weight's.
pub(super) fn tiny() -> Writer {
    let ramp: [i8; 32] = std::array::from_fn(|i| i as i8 - 16);
    let nibbles: [u8; 32] = std::array::from_fn(|i| (i % 16) as u8);
    Writer::new()
        .string("general.architecture", "llama")
        .entry("t.u8", 0, vec![200])
        .entry("t.i8", 1, vec![0x80])
        .entry("t.u16", 2, 65_535u16.to_le_bytes().to_vec())
        .entry("t.i16", 3, (-300i16).to_le_bytes().to_vec())
        .u32("t.u32", u32::MAX)
        .entry("t.i32", I32, (-70_000i32).to_le_bytes().to_vec())
        .f32("t.f32", 0.5)
        .entry("t.bool", 7, vec![1])
        .string("t.string", "héllo")
        .strings("t.strings", &["", "a", "né"])
        .i32s("t.i32s", &[-1, 0, 7])
        .entry("t.bools", ARRAY, array(7, 2, vec![0, 1]))
        .entry("t.f32s", ARRAY, array(F32_VALUE, 2, f32s(&[1.5, -2.0])))
        .entry("t.u64", 10, u64::MAX.to_le_bytes().to_vec())
        .entry("t.i64", 11, i64::MIN.to_le_bytes().to_vec())
        .entry("t.f64", 12, 0.1f64.to_le_bytes().to_vec())
        .tensor("f32", &[2, 3], F32, &f32s(&[0., 1., 2., 3., 4., -5.]))
        .tensor("f16", &[4], F16, &f16s(&[0.5, -1.0, 2.25, 1024.0]))
        .tensor("q8_0", &[1, 32], Q8_0, &q8_0(0.25, ramp))
        .tensor("q4_1", &[1, 32], Q4_1, &q4_1(0.5, -1.0, nibbles))
}
