//! What helps: for each error what to do next, and against a refusal by what was said with it.

use super::RegistryError;
use super::ecr::Place;
use super::error::{RequestLine, Said};

impl RegistryError {
    /// What to do next.
    #[expect(clippy::too_many_lines, reason = "a table of texts")]
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "check the registry's address and the network, then try again".into()
            }
            Self::Refused { status, said, .. } => refused_hint(*status, said),
            Self::Throttled { .. } => {
                "wait and try again; a credential often raises the limit".into()
            }
            Self::Corrupt { .. } => {
                "check what stands between here and the registry (a proxy, a sign-in page), then \
                 try again"
                    .into()
            }
            Self::CredentialRefused { host, said, .. } => not_accepted_hint(host, said),
            Self::CredentialMissing { host, .. } => format!("sign in with `docker login {host}`"),
            Self::CredentialHelper { .. } => {
                "mend Docker's config.json, or install the credential helper that it names".into()
            }
            Self::CredentialHelperSilent { host, .. } => {
                format!(
                    "it may be waiting for somebody to unlock it: try `docker login {host}`, or \
                     take the helper out of Docker's config.json"
                )
            }
            Self::AwsCredentialsMissing { .. } => {
                "sign in to AWS: environment variables, a profile, a web identity, or the role of a \
                 container or an instance; to use `docker login` instead, declare the registry as \
                 kind oci in the manifest, or give it as oci://host/prefix"
                    .into()
            }
            Self::AwsCredentialsBroken { .. } => {
                "mend the profile or the role that AWS_PROFILE or the environment names, or sign in \
                 again"
                    .into()
            }
            Self::AwsRegionMissing { .. } => {
                "set AWS_REGION, or `registry.region` in the manifest".into()
            }
            Self::AwsRefused { request, said } => aws_hint(request, said),
            Self::TagLimit { .. } => {
                "an image of Amazon ECR's has at most 1,000 tags; waybill adds two or three for \
                 each key, so these are mostly others': remove tags that nobody uses, or raise the \
                 project's `epoch` to build another image"
                    .into()
            }
            Self::RepositoryLimit { .. } => {
                "a repository of Amazon ECR's holds at most 100,000 images, unless its quota is \
                 raised: have it raised, or remove images that nobody needs"
                    .into()
            }
            Self::EcrNotBuiltIn { .. } => {
                "build waybill with its default features, or declare the registry as kind oci and \
                 sign in with `docker login`"
                    .into()
            }
            Self::Tls { .. } => {
                "install the system's root certificates, or name a file of certificates in PEM \
                 with --registry-ca"
                    .into()
            }
            Self::PushNotShown { .. } => {
                "try again in a while; if it stays so, something deletes what is pushed".into()
            }
            Self::RepositoryGone { .. } => {
                "try again in a while; if it stays so, the repository was deleted: \
                 `waybill registry init` makes the base anew"
                    .into()
            }
            Self::NoDelete { .. } => {
                "have the registry allow it, or delete it by the registry's own means (retention, \
                 user interface)"
                    .into()
            }
            Self::Incomplete { .. } => {
                "the registry's retention or clean-up may have removed it: build the image again"
                    .into()
            }
            Self::NotCopied { .. } => {
                "copy an image or an index of the OCI's or Docker's second form".into()
            }
            Self::TagStands { .. } => {
                "choose another tag, or delete the one that stands by the registry's own means"
                    .into()
            }
            Self::OtherPlatform { .. } => {
                "build the image for the platform, on a base that is there for it".into()
            }
            Self::InvalidBase { .. } => {
                "write it as host[:port]/prefix, such as registry.example.com/acme, in lower case \
                 and without tag or credentials"
                    .into()
            }
            Self::InvalidImage { .. } => {
                "write it as [host[:port]/]repository[:tag][@sha256:digest]".into()
            }
            Self::InvalidName { .. } => {
                "use lower-case letters, digits, and . _ - / between; a tag has at most 128 \
                 characters"
                    .into()
            }
        }
    }
}

/// What helps against an answer of the protocol's.
pub(super) fn refused_hint(status: u16, said: &Said) -> String {
    let hint = match status {
        _ if said.code.as_deref() == Some("NAME_UNKNOWN") => {
            "create the repository, or have the registry create repositories on push"
        }
        404 => {
            "an absent image is told in the protocol's own words; this answer was not, so check \
             that the address is a registry's and that the prefix is right"
        }
        403 => match denied_action(said) {
            Some(action) => return allow(action),
            None => "the registry forbids it: check the repository's access rules and limits",
        },
        500.. => "the registry is in trouble; try again later",
        _ => "check the repository's settings in the registry",
    };
    hint.to_owned()
}

/// What helps where a credential is not accepted, or not for this.
pub(super) fn not_accepted_hint(host: &str, said: &Said) -> String {
    match denied_action(said) {
        Some(action) => allow(action),
        None if Place::of_host(host).is_some() => {
            "sign in to AWS again, or let the role or user do it (README, Amazon ECR, lists what \
             is needed)"
                .to_owned()
        }
        None => format!("sign in again with `docker login {host}`, or check what it may access"),
    }
}

/// What helps against one of AWS's exceptions.
pub(super) fn aws_hint(request: &RequestLine, said: &Said) -> String {
    let hint = match said.code.as_deref().unwrap_or_default() {
        "AccessDeniedException" => {
            return allow(denied_action(said).unwrap_or_else(|| request.call()));
        }
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId" => {
            "AWS does not accept the credential, or its session has ended: sign in again, and check \
             this machine's clock"
        }
        "RepositoryNotFoundException" => {
            "run `waybill registry init`, or check the prefix, the region and the account"
        }
        "LimitExceededException" => {
            "a quota of Amazon ECR's is used up: have it raised, or remove what nobody needs"
        }
        "KmsError" | "KmsException" => "let the role or user use the repository's KMS key",
        _ => "see what Amazon ECR says of it; try again later if it may pass",
    };
    hint.to_owned()
}

fn allow(action: &str) -> String {
    format!("allow {action} to the role or user (README, Amazon ECR, lists all that is needed)")
}

/// The action that AWS names in its words for who may not do something: `… is not authorized to
/// perform: ecr:PutImage on resource: …`.
fn denied_action(said: &Said) -> Option<&str> {
    let message = said.message.as_deref()?;
    let (_, action) = message.split_once("not authorized to perform: ")?;
    let end = action.find(|one: char| !one.is_ascii_alphanumeric() && one != ':');
    let action = action.get(..end.unwrap_or(action.len()))?;
    action.contains(':').then_some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Said {
        Said {
            code: Some("DENIED".into()),
            message: Some(message.into()),
        }
    }

    #[test]
    fn the_action_to_allow_is_named() {
        let words = "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: \
                     ecr:PutImage on resource: arn:aws:ecr:eu-west-2:123456789012:repository/a";
        for hint in [
            refused_hint(403, &said(words)),
            not_accepted_hint("r.example", &said(words)),
        ] {
            assert!(hint.starts_with("allow ecr:PutImage to"), "{hint}");
        }
        let plain = said("requested access to the resource is denied");
        assert!(not_accepted_hint("r.example", &plain).contains("docker login r.example"));
        let host = "123456789012.dkr.ecr.us-east-2.amazonaws.com";
        assert!(not_accepted_hint(host, &plain).contains("AWS"));
        assert!(refused_hint(403, &plain).contains("forbids"));
    }
}
