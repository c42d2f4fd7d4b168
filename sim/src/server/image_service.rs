//! ImageService, as each flavour answers it.

use cri_gc_proto::cri::image_service_server::ImageService;
use cri_gc_proto::cri::*;
use tonic::{Request, async_trait};

use super::{Messages, Reply, Services, missing_is_fine, odd, wire};
use crate::calls::Method;
use crate::model::{Counted, Image};
use crate::options::Flavour;

#[async_trait]
impl ImageService for Services {
    async fn list_images(&self, request: Request<ListImagesRequest>) -> Reply<ListImagesResponse> {
        let name = request.into_inner().filter.and_then(|filter| filter.image).unwrap_or_default().image;
        self.call(Method::ListImages, &name, |node| {
            let images = match node.options.flavour {
                Flavour::CriO if !name.is_empty() => node.image(&name).map(wire::image).into_iter().collect(),
                // containerd ignores the filter.
                _ => node.images().map(wire::image).collect(),
            };
            Ok((ListImagesResponse { images: odd::images(node, images) }, 0))
        })
        .await
    }

    type StreamImagesStream = Messages<StreamImagesResponse>;

    async fn stream_images(&self, _request: Request<StreamImagesRequest>) -> Reply<Self::StreamImagesStream> {
        let message = |image: &Image| (StreamImagesResponse { images: vec![wire::image(image)] }, 0);
        self.stream(Method::StreamImages, |node| node.images().map(message).collect()).await
    }

    async fn image_status(&self, request: Request<ImageStatusRequest>) -> Reply<ImageStatusResponse> {
        let name = request.into_inner().image.unwrap_or_default().image;
        self.call(Method::ImageStatus, &name, |node| {
            Ok((ImageStatusResponse { image: node.image(&name).map(wire::image) }, 0))
        })
        .await
    }

    async fn remove_image(&self, request: Request<RemoveImageRequest>) -> Reply<RemoveImageResponse> {
        let name = request.into_inner().image.unwrap_or_default().image;
        self.change(Method::RemoveImage, &name, |node| missing_is_fine(node.remove_image(&name).map(drop)))
            .await
    }

    async fn image_fs_info(&self, _request: Request<ImageFsInfoRequest>) -> Reply<ImageFsInfoResponse> {
        self.call(Method::ImageFsInfo, "", |node| {
            let Counted { at, images, containers, .. } = node.counted;
            let entry =
                |path: &std::path::Path, used| wire::filesystem_usage(&path.to_string_lossy(), used, at);
            let on_images = entry(&node.paths.images, images);
            let on_their_own = entry(&node.paths.containers_fs, containers);
            let container_filesystems = match (node.options.separate_container_fs, node.options.flavour) {
                (true, _) => vec![on_their_own],
                // CRI-O names the folder of the images in both lists.
                (false, Flavour::CriO) => vec![on_images.clone()],
                (false, Flavour::Containerd16 | Flavour::Containerd21) => Vec::new(),
            };
            let image_filesystems = vec![on_images];
            Ok((ImageFsInfoResponse { image_filesystems, container_filesystems }, 0))
        })
        .await
    }
}
