//! Decodes an answer that is a list object by object: what an object is turned into is kept, and what the runtime sent is not. The
//! objects of an answer of 16 MiB would take three times as much.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// The field of the objects, in every list of the CRI.
const OBJECTS: usize = 1;

/// For a request `Q`, whose answer is a list of objects `W`, each of which becomes what `F` makes of it.
pub struct Objects<Q, W, F> {
    item: F,
    of: PhantomData<fn(Q) -> W>,
}

impl<Q, W, F> Objects<Q, W, F> {
    /// Turns each object into that.
    pub fn into(item: F) -> Self {
        Self { item, of: PhantomData }
    }
}

impl<Q, W, R, F> Codec for Objects<Q, W, F>
where
    Q: Message + 'static,
    W: Message + Default + 'static,
    R: Send + Sync + 'static,
    F: FnMut(W) -> R + Clone + Send + 'static,
{
    type Encode = Q;
    type Decode = Vec<R>;
    type Encoder = ProstEncoder<Q>;
    type Decoder = ObjectDecoder<W, F>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ObjectDecoder { item: self.item.clone(), of: PhantomData }
    }
}

/// The half of it that reads.
pub struct ObjectDecoder<W, F> {
    item: F,
    of: PhantomData<fn() -> W>,
}

impl<W: Message + Default, R, F: FnMut(W) -> R> Decoder for ObjectDecoder<W, F> {
    type Item = Vec<R>;
    type Error = Status;

    fn decode(&mut self, answer: &mut DecodeBuf<'_>) -> Result<Option<Vec<R>>, Status> {
        objects(answer, &mut self.item).map(Some).map_err(Status::from)
    }
}

/// What the objects of an answer become.
pub fn objects<W: Message + Default, R>(
    answer: &mut impl Buf,
    mut item: impl FnMut(W) -> R,
) -> Result<Vec<R>, DecodeError> {
    let mut all = Vec::new();
    while answer.has_remaining() {
        // The number of a field, and how it is written.
        let key = number(answer)?;
        match (key >> 3, key & 7) {
            (OBJECTS, 2) => all.push(item(W::decode_length_delimited(&mut *answer)?)),
            (0 | OBJECTS, _) => return Err(DecodeError::Unknown),
            // A newer CRI may add fields.
            (_, written) => skip(answer, written)?,
        }
    }
    Ok(all)
}

/// Numbers are written as lengths are.
fn number(answer: &mut impl Buf) -> Result<usize, DecodeError> {
    Ok(prost::decode_length_delimiter(&mut *answer)?)
}

/// Skips a field that is written in that way (protobuf: wire types).
fn skip(answer: &mut impl Buf, written: usize) -> Result<(), DecodeError> {
    let length = match written {
        0 => number(answer).map(|_| 0)?,
        1 => 8,
        2 => number(answer)?,
        5 => 4,
        _ => return Err(DecodeError::Unknown),
    };
    if length > answer.remaining() {
        return Err(DecodeError::Short);
    }
    answer.advance(length);
    Ok(())
}

/// Why an answer can't be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the answer of the runtime can't be read: {0}")]
    Broken(#[from] prost::DecodeError),
    #[error("the answer of the runtime has a field of an unknown kind")]
    Unknown,
    #[error("the answer of the runtime ends within a field")]
    Short,
}

impl From<DecodeError> for Status {
    // As for every other answer that is not what it has to be.
    fn from(error: DecodeError) -> Self {
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_proto::cri;

    use super::*;

    fn read(answer: &[u8]) -> Result<Vec<cri::Container>, DecodeError> {
        objects(&mut &answer[..], |container| container)
    }

    fn answer() -> cri::ListContainersResponse {
        let container = |id: &str| cri::Container {
            id: id.to_owned(),
            metadata: Some(cri::ContainerMetadata { name: "app".repeat(100), attempt: 7 }),
            ..cri::Container::default()
        };
        cri::ListContainersResponse { containers: vec![container("a"), container("b"), container("")] }
    }

    #[test]
    fn it_is_read_as_prost_reads_it_with_fields_that_are_not_known() {
        let encoded = answer().encode_to_vec();
        // Numbers 15 and above, of each kind.
        let unknown: [&[u8]; 4] = [
            &[0x78, 0xff, 0x01],
            &[0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x8a, 0x01, 2, 9, 9],
            &[0x95, 0x01, 1, 2, 3, 4],
        ];
        let with = |unknown: &[u8]| [unknown, &encoded, unknown].concat();
        for answered in [encoded.clone()].into_iter().chain(unknown.map(with)) {
            let known = cri::ListContainersResponse::decode(answered.as_slice()).unwrap();
            assert_eq!(known, answer());
            assert_eq!(read(&answered).unwrap(), known.containers);
        }
    }

    #[test]
    fn what_prost_refuses_is_refused() {
        let encoded = answer().encode_to_vec();
        let cut = (0..encoded.len()).map(|length| encoded[..length].to_vec());
        // Each byte is another one: lengths, numbers of fields, and texts that are no UTF-8.
        let changed = (0..encoded.len()).flat_map(|at| {
            [0x00, 0x03, 0x7f, 0xff].map(|byte| {
                let mut changed = encoded.clone();
                changed[at] = byte;
                changed
            })
        });
        let mut refused = 0;
        for answered in cut.chain(changed) {
            match (cri::ListContainersResponse::decode(answered.as_slice()), read(&answered)) {
                (Ok(known), Ok(read)) => assert_eq!(read, known.containers),
                (Err(_), Err(_)) => refused += 1,
                (known, read) => panic!("{known:?}, but {read:?}"),
            }
        }
        assert!(refused > encoded.len(), "{refused}");
    }
}
