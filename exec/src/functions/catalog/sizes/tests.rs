use super::*;

#[test]
fn sizes_print_like_postgresql() {
    for (bytes, printed) in [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (10_239, "10239 bytes"),
        (10_240, "10 kB"),
        (20_479, "20 kB"),
        (1_048_576, "1024 kB"),
        (10_485_760, "10 MB"),
        (10_737_418_240, "10 GB"),
        (123_456_789_012_345, "112 TB"),
        (-10_240, "-10 kB"),
        (-20_000, "-20 kB"),
        (123_456_789, "118 MB"),
    ] {
        assert_eq!(size_text(bytes), printed, "{bytes}");
    }
}
