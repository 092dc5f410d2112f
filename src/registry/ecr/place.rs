//! Which of Amazon's registries a host is.

use crate::model::RegistryApi;

/// An ECR registry, as far as its host's name or its owner says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::registry) struct Place {
    /// `None`: as AWS's tools have it.
    pub(in crate::registry) region: Option<String>,
    /// The account's id; `None`: the caller's own.
    pub(in crate::registry) account: Option<String>,
    /// The API's endpoint that is validated under FIPS 140.
    pub(super) fips: bool,
    /// The API's endpoint that has IPv6 too.
    pub(super) dual_stack: bool,
    /// Somebody said that it is ECR; else the host's name tells.
    pub(in crate::registry) declared: bool,
}

/// What comes after the region in the hosts of ECR, one for each of Amazon's partitions, and
/// whether it is that of dual-stack hosts (ECR user guide, "Private registries").
const DOMAINS: [(&str, bool); 5] = [
    (".amazonaws.com", false),
    (".amazonaws.com.cn", false),
    (".amazonaws.eu", false),
    (".on.aws", true),
    (".on.amazonwebservices.com.cn", true),
];

impl Place {
    /// The registry of a host such as `123456789012.dkr.ecr.eu-west-2.amazonaws.com`; `None` for
    /// any other host.
    pub(in crate::registry) fn of_host(host: &str) -> Option<Self> {
        let (rest, dual_stack) = DOMAINS
            .into_iter()
            .find_map(|(domain, dual)| Some((host.strip_suffix(domain)?, dual)))?;
        let (account, rest) = rest.split_once('.')?;
        let service = if dual_stack { "dkr-ecr" } else { "dkr.ecr" };
        let rest = rest.strip_prefix(service)?;
        let (fips, region) = match rest.strip_prefix("-fips.") {
            Some(region) => (true, region),
            None => (false, rest.strip_prefix('.')?),
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = !region.is_empty() && region.bytes().all(plain);
        (is_account && is_region).then(|| Self {
            region: Some(region.to_owned()),
            account: Some(account.to_owned()),
            fips,
            dual_stack,
            declared: false,
        })
    }

    /// The same, with what its owner says of it.
    pub(in crate::registry) fn with(self, api: &RegistryApi) -> Self {
        Self {
            region: api.region.clone().or(self.region),
            account: api.account.clone().or(self.account),
            declared: self.declared || api.kind.is_some(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_hosts_of_ecr() {
        for (host, region, fips, dual_stack) in [
            (
                "123456789012.dkr.ecr.us-east-2.amazonaws.com",
                "us-east-2",
                false,
                false,
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                true,
                false,
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                false,
                false,
            ),
            (
                "123456789012.dkr-ecr.eu-west-2.on.aws",
                "eu-west-2",
                false,
                true,
            ),
            (
                "123456789012.dkr-ecr-fips.us-east-1.on.aws",
                "us-east-1",
                true,
                true,
            ),
        ] {
            let place = Place::of_host(host).expect(host);
            assert_eq!(place.region.as_deref(), Some(region), "{host}");
            assert_eq!(place.account.as_deref(), Some("123456789012"), "{host}");
            assert_eq!((place.fips, place.dual_stack), (fips, dual_stack), "{host}");
            assert!(!place.declared);
        }
    }

    #[test]
    fn takes_no_other_host_for_one() {
        for host in [
            "public.ecr.aws",
            "registry.example.com",
            "dkr.ecr.us-east-2.amazonaws.com",
            "12345.dkr.ecr.us-east-2.amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.us.east.amazonaws.com",
            "123456789012.dkr.ecr.us-east-2.amazonaws.com.example.com",
            "123456789012.dkr.ecr.us-east-2.amazonaws.com:5000",
            "api.ecr.us-east-2.amazonaws.com",
        ] {
            assert_eq!(Place::of_host(host), None, "{host}");
        }
    }

    #[test]
    fn what_its_owner_says_goes_first() {
        let api = RegistryApi {
            kind: Some(crate::model::RegistryKind::Ecr),
            region: Some("eu-west-2".into()),
            account: None,
        };
        let host = "123456789012.dkr.ecr.us-east-2.amazonaws.com";
        let place = Place::of_host(host).unwrap().with(&api);
        assert_eq!(place.region.as_deref(), Some("eu-west-2"));
        assert_eq!(place.account.as_deref(), Some("123456789012"));
        assert!(place.declared);
    }
}
