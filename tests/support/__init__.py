"""What the tests share: projects, servers, disks and clocks."""
