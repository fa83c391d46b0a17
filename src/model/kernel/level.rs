//! Which instructions this processor has.

use std::sync::OnceLock;

/// What kernels may use, each including those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 with VNNI, as of Ice Lake and Zen 4.
    Avx512,
}

impl Level {
    /// The highest level of this processor, asked once.
    pub(crate) fn detect() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                let avx512 = avx2
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni");
                match (avx512, avx2) {
                    (true, _) => return Self::Avx512,
                    (_, true) => return Self::Avx2,
                    _ => {}
                }
            }
            Self::Portable
        })
    }

    /// Every level that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let all = [Self::Portable, Self::Avx2, Self::Avx512];
        all.into_iter()
            .filter(|level| *level <= Self::detect())
            .collect()
    }
}

/// Compiles a function of plain Rust once per level; the caller names the level first.
///
/// The body is the same for every level and is neither reordered nor fused by the compiler (Rust
/// has no fast-math), so all levels give the same bits.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident$(<$(const $generic:ident: $kind:ty),*>)?($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "one level only"))]
        $vis fn $name$(<$(const $generic: $kind),*>)?(level: $crate::kernel::Level, $($arg: $type),*) {
            #[inline(always)]
            fn twin$(<$(const $generic: $kind),*>)?($($arg: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
                fn avx512$(<$(const $generic: $kind),*>)?($($arg: $type),*) {
                    twin$(::<$($generic),*>)?($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$(const $generic: $kind),*>)?($($arg: $type),*) {
                    twin$(::<$($generic),*>)?($($arg),*);
                }
                match level {
                    // SAFETY: a `Level` above `Portable` is only made where the processor has it.
                    $crate::kernel::Level::Avx512 => return unsafe { avx512$(::<$($generic),*>)?($($arg),*) },
                    // SAFETY: likewise.
                    $crate::kernel::Level::Avx2 => return unsafe { avx2$(::<$($generic),*>)?($($arg),*) },
                    $crate::kernel::Level::Portable => {}
                }
            }
            twin$(::<$($generic),*>)?($($arg),*);
        }
    };
}
pub(super) use multiversion;
