//! The embedded runtime over its socket, through the generated clients that the collector uses.

#[cfg(test)]
mod bed;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod crictl;
#[cfg(test)]
mod crio;
#[cfg(test)]
mod image_volumes;
#[cfg(test)]
mod images;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod trouble;
