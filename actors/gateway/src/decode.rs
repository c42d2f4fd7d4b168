//! Decodes an answer that is a list object by object: what an object is turned into is kept, and what the runtime sent is not. The
//! objects of an answer of 16 MiB would take three times as much.

use std::marker::PhantomData;

use prost::bytes::{Buf, Bytes};
use prost::{DecodeError, Message};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// Every list of the CRI: its objects, which share the memory of the answer.
#[derive(Message)]
struct Answer {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    objects: Vec<Bytes>,
}

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
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self::into(self.item.clone())
    }
}

impl<Q, W: Message + Default, R, F: FnMut(W) -> R> Decoder for Objects<Q, W, F> {
    type Item = Vec<R>;
    type Error = Status;

    fn decode(&mut self, answer: &mut DecodeBuf<'_>) -> Result<Option<Vec<R>>, Status> {
        objects(answer, &mut self.item).map(Some).map_err(Status::from)
    }
}

/// What the objects of an answer become.
///
/// # Errors
/// The answer, or one of its objects, can't be read.
pub fn objects<W: Message + Default, R>(
    answer: &mut impl Buf,
    mut item: impl FnMut(W) -> R,
) -> Result<Vec<R>, Unreadable> {
    let Answer { objects } = Answer::decode(answer)?;
    objects.into_iter().map(|object| Ok(item(W::decode(object)?))).collect()
}

/// An answer is not what it has to be.
#[derive(Debug, thiserror::Error)]
#[error("the answer of the runtime can't be read: {0}")]
pub struct Unreadable(#[from] DecodeError);

impl From<Unreadable> for Status {
    fn from(error: Unreadable) -> Self {
        // As for every other answer that is not what it has to be.
        Self::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use cri_gc_proto::cri;

    use super::*;

    fn read(answer: &[u8]) -> Result<Vec<cri::Container>, Unreadable> {
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
