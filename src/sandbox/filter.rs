//! The seccomp filter: system calls that no tool needs and that widen what can be attacked.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use super::{
    job::{LayerState, Profile},
    wire::Refusal,
};

/// Refused with EPERM, whatever the arguments.
const DENIED: &[libc::c_long] = &[
    // mounts and roots
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_fanotify_init,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // namespaces
    libc::SYS_unshare,
    libc::SYS_setns,
    // the kernel
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_nfsservctl,
    libc::SYS_personality,
    libc::SYS_vhangup,
    // around path checks
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // io_uring goes around seccomp
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // clocks and names
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

/// x32 calls have their own numbers, which a filter by number would let through.
const X32_BIT: libc::c_long = 0x4000_0000;
const X32_OWN: std::ops::RangeInclusive<libc::c_long> = 512..=547;

const NEW_NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Socket types beside SOCK_STREAM.
const OTHER_TYPES: &[libc::c_int] = &[
    libc::SOCK_DGRAM,
    libc::SOCK_RAW,
    libc::SOCK_RDM,
    libc::SOCK_SEQPACKET,
    6,
    10,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Installs the filter of the profile on the calling process. The last layer: nothing can be set up after it.
pub(super) fn seccomp(profile: Profile) -> Result<LayerState, Refusal> {
    let name = if profile == Profile::Pod {
        "pod.seccomp"
    } else {
        "ns.seccomp"
    };
    let remedy = "use a kernel with CONFIG_SECCOMP_FILTER on x86_64, aarch64 or riscv64";
    let refused = |e: seccompiler::Error| Refusal::new(name, e, remedy);
    let programs = programs(profile).map_err(|e| refused(e.into()))?;
    for program in &programs {
        seccompiler::apply_filter(program).map_err(refused)?;
    }
    let detail = if profile == Profile::Pod {
        "deny list; only UNIX and TCP sockets"
    } else {
        "deny list; no raw or packet sockets"
    };
    Ok(LayerState {
        name: name.to_owned(),
        active: true,
        detail: detail.to_owned(),
    })
}

fn programs(profile: Profile) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let errno = |code: libc::c_int| SeccompAction::Errno(code.unsigned_abs());
    let denied = SeccompFilter::new(denied(profile)?, SeccompAction::Allow, errno(libc::EPERM), arch)?;
    // A filter cannot look into clone3's structure. ENOSYS makes every C library and Go fall back to clone.
    let absent = Rules::from([(libc::SYS_clone3, vec![])]);
    let absent = SeccompFilter::new(absent, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    Ok([denied.try_into()?, absent.try_into()?])
}

fn denied(profile: Profile) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = DENIED
        .iter()
        .chain(DENIED_HERE)
        .map(|call| (*call, vec![]))
        .collect();
    let mut clone = Vec::new();
    for flag in NEW_NAMESPACES {
        clone.push(SeccompRule::new(vec![has_bits(0, *flag)?])?);
    }
    rules.insert(libc::SYS_clone, clone);
    // Typing into the terminal of whoever started us.
    rules.insert(
        libc::SYS_ioctl,
        vec![
            SeccompRule::new(vec![equals(1, 0x5412)?])?,
            SeccompRule::new(vec![equals(1, 0x541C)?])?,
        ],
    );
    rules.insert(libc::SYS_socket, sockets(profile)?);
    if profile == Profile::Pod {
        // Fast open connects without the call that Landlock watches.
        rules.insert(
            libc::SYS_sendto,
            vec![SeccompRule::new(vec![has_bits(3, libc::MSG_FASTOPEN)?])?],
        );
        rules.insert(
            libc::SYS_sendmsg,
            vec![SeccompRule::new(vec![has_bits(2, libc::MSG_FASTOPEN)?])?],
        );
        rules.insert(
            libc::SYS_sendmmsg,
            vec![SeccompRule::new(vec![has_bits(3, libc::MSG_FASTOPEN)?])?],
        );
        let fast_open = vec![
            equals(1, libc::IPPROTO_TCP)?,
            equals(2, libc::TCP_FASTOPEN_CONNECT)?,
        ];
        rules.insert(libc::SYS_setsockopt, vec![SeccompRule::new(fast_open)?]);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let x32: Vec<_> = rules
            .iter()
            .map(|(call, rules)| (call | X32_BIT, rules.clone()))
            .collect();
        rules.extend(x32);
        rules.extend(X32_OWN.map(|call| (call | X32_BIT, vec![])));
    }
    Ok(rules)
}

fn sockets(profile: Profile) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let other: Result<Vec<_>, _> = families
        .iter()
        .map(|family| compare(0, SeccompCmpOp::Ne, *family))
        .collect();
    let netlink = vec![
        equals(0, libc::AF_NETLINK)?,
        compare(2, SeccompCmpOp::Ne, libc::NETLINK_ROUTE)?,
    ];
    let mut rules = vec![SeccompRule::new(other?)?, SeccompRule::new(netlink)?];
    if profile == Profile::Pod {
        for family in [libc::AF_INET, libc::AF_INET6] {
            for kind in OTHER_TYPES {
                let masked = SeccompCmpOp::MaskedEq(0xf);
                rules.push(SeccompRule::new(vec![
                    equals(0, family)?,
                    compare(1, masked, *kind)?,
                ])?);
            }
            // MPTCP and SMC streams are not TCP to Landlock.
            let not_tcp = vec![
                equals(0, family)?,
                compare(2, SeccompCmpOp::Ne, 0)?,
                compare(2, SeccompCmpOp::Ne, libc::IPPROTO_TCP)?,
            ];
            rules.push(SeccompRule::new(not_tcp)?);
        }
    }
    Ok(rules)
}

fn equals(argument: u8, value: libc::c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    compare(argument, SeccompCmpOp::Eq, value)
}

fn has_bits(argument: u8, bits: libc::c_int) -> Result<SeccompCondition, seccompiler::BackendError> {
    compare(
        argument,
        SeccompCmpOp::MaskedEq(u64::from(bits.cast_unsigned())),
        bits,
    )
}

fn compare(
    argument: u8,
    how: SeccompCmpOp,
    value: libc::c_int,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        how,
        u64::from(value.cast_unsigned()),
    )
}
