//! ImageService, as containerd answers it.

use cri_gc_proto::cri::{self, image_service_server::ImageService};
use tonic::{Request, Response, Status, async_trait};

use crate::method::Method;
use crate::model::Counted;
use crate::server::{Services, missing_is_fine, wire};

#[async_trait]
impl ImageService for Services {
    async fn list_images(
        &self,
        _request: Request<cri::ListImagesRequest>,
    ) -> Result<Response<cri::ListImagesResponse>, Status> {
        self.call(Method::ListImages, "", |node| {
            Ok(cri::ListImagesResponse { images: node.images().map(wire::image).collect() }.into())
        })
        .await
    }

    async fn remove_image(
        &self,
        request: Request<cri::RemoveImageRequest>,
    ) -> Result<Response<cri::RemoveImageResponse>, Status> {
        let name = request.into_inner().image.unwrap_or_default().image;
        self.call(Method::RemoveImage, &name, |node| {
            missing_is_fine(node.remove_image(&name).map(drop))?;
            Ok(cri::RemoveImageResponse {}.into())
        })
        .await
    }

    async fn image_fs_info(
        &self,
        _request: Request<cri::ImageFsInfoRequest>,
    ) -> Result<Response<cri::ImageFsInfoResponse>, Status> {
        self.call(Method::ImageFsInfo, "", |node| {
            let Counted { at, images, containers } = node.counted();
            let entry = |path: &std::path::Path, (bytes, inodes): (u64, u64)| cri::FilesystemUsage {
                timestamp: wire::nanos(Some(at)),
                fs_id: Some(cri::FilesystemIdentifier { mountpoint: path.to_string_lossy().into_owned() }),
                used_bytes: Some(cri::UInt64Value { value: bytes }),
                inodes_used: Some(cri::UInt64Value { value: inodes }),
            };
            let separate = node.options().separate_container_fs;
            Ok(cri::ImageFsInfoResponse {
                image_filesystems: vec![entry(&node.paths().images, images)],
                container_filesystems: separate
                    .then(|| entry(&node.paths().containers_fs, containers))
                    .into_iter()
                    .collect(),
            }
            .into())
        })
        .await
    }
}
