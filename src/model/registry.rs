//! What is said of a registry beside its address.

/// Which API a registry has beside the OCI one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// None.
    Oci,
    /// Amazon ECR's.
    Ecr,
}

/// What API a registry has, and what that needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryApi {
    /// `None` means that the host's name tells.
    pub kind: Option<RegistryKind>,
    /// The AWS region, of an ECR registry whose host does not name it.
    pub region: Option<String>,
    /// The AWS account's id, 12 digits, of an ECR registry whose host does not name it.
    pub account: Option<String>,
}
